"""Damaged models: healthy ones to start from, what is done to them, and a process that loads them under limits."""
