"""What a packet meets: rules, hashes, and where connections are."""
