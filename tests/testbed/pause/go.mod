module seedbed.dev/testbed/pause

go 1.26
