"""What acts: brings the core's decisions and the adapters together."""
