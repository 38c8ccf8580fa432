"""What a storage can do, found out by using it: nothing is decided by a vendor's name or by what a client claims."""
