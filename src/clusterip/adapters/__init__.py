"""One outside thing each, with the fake that tests use beside the real one."""
