"""What nodes tell each other, as values and as datagrams that nobody else can make."""
