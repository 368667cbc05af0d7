"""What crosses the HTTP boundary, as typed values."""
