package server

// Reason says why a message was not served.
type Reason uint8
