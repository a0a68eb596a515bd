//! Header views, checksums and the flow dissector. Floor 1: knows bytes, nothing else.
