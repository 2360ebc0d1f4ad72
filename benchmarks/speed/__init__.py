"""Speed against the libraries people use today: ratios within one run, never absolute promises."""
