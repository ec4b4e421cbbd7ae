"""What any decider needs: the kernel's buckets, the plan, flows, drains."""
