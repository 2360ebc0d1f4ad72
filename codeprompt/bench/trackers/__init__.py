"""Where else results go: one file a tracker (`TRACKER`), imported where it is asked for alone."""
