"""Set-up of a process before it imports third-party modules: import path, module clashes, Ray's variables."""
