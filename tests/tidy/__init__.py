"""What the tidy test is made of: the map as data (`house`), a reader of the source (`source`)."""
