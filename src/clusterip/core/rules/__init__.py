"""Rules as `iptables -j CLUSTERIP` had them: command lines and files, to values and back."""
