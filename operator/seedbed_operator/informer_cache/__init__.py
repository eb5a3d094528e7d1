"""Cached views of jobs, pods and profiles, as in an informer; whole objects are not kept."""
