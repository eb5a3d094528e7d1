"""What a process settles before it imports more than Python's own: where modules and Ray are looked for."""
