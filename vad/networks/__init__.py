"""Networks that more than one part uses."""
