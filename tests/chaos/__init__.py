"""What the kill and the stateful test share: virtual time, portraits of a host, processes that are killed."""
