"""What any decider needs: the kernel's buckets, the plan, flows, drains; and what one is."""
