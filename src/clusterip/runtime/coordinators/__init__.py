"""The coordinators that a daemon can have, each with how it is spoken with."""
