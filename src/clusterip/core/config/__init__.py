"""The configuration file /etc/clusterip.toml, the same on every host."""
