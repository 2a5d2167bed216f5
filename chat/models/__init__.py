"""Which models visitors may pick: the catalogue and the file it is read from."""
