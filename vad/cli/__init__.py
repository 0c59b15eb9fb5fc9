"""The commands. Heavy imports happen inside the verbs."""
