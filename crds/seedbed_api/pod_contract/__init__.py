"""The contract between the operator and the pods: environment, paths, labels, endpoint, messages.

Pods of an older image run under a newer operator, so names and values that are in use stay as they are.
"""
