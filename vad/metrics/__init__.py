"""How good are scores? Pure functions on raw scores."""
