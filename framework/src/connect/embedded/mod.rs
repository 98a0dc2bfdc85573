//! The embedded log: topics, partitions and transactions in a directory, for one machine and no server.
