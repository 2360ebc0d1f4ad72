"""Examples from anywhere: data sets, files, folders and source trees."""
