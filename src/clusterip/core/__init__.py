"""Pure: no clock, socket, file, thread or randomness; `now` is an argument where it matters."""
