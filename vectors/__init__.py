"""Golden vectors. Nothing here yet."""
