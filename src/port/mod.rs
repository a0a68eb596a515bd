//! Frames in and out: AF_PACKET, TAP, capture files, memory. Floor 3, knows nothing of `forward/`.
