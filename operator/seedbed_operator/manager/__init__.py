"""The process: its settings, what it checks first, who leads, and how it begins and ends."""
