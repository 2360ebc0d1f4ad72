"""One file a schema, oldest first; a file that was released is never changed."""
