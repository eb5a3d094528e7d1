"""Every use of Ray: a local Ray, Ray Train around the workers, their process group, elastic sizes."""
