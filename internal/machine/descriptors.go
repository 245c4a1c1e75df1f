package machine

// EnoughDescriptors are so many that nobody needs to think of them.
const EnoughDescriptors = 1 << 16

// ShareDescriptors divides so many descriptors, 0 for any number, among the
// connections of callers, of which so many are wanted (0 for any number), and
// of operators, of which few will do. Of each call the way out and a body on
// disk take one too, and files are read meanwhile: without room for them calls
// would hang in silence.
func ShareDescriptors(files, wanted, few int) (callers, operators int) {
	if files == 0 {
		return wanted, few
	}
	operators = min(few, max(8, files/16))
	callers = max(8, (files-operators-min(64, files/4))/2)
	if wanted > 0 {
		callers = min(callers, wanted)
	}
	return callers, operators
}
