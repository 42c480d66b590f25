package ratelimit

// TakeScript is the script, for those who compare it with something.
var TakeScript = takeText
