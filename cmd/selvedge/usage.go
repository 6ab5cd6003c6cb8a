package main

import "regexp"

// parserWords are what the parser of the command line says, and what this program
// says instead: what is wrong, and what to write.
var parserWords = []struct {
	theirs *regexp.Regexp
	ours   string
}{
	{regexp.MustCompile(`expected \w+ value but got "EOL" \(<EOL>\)`), "a value is missing behind it"},
	{regexp.MustCompile(`expected (?:int|float|duration|size) value but got ("-[\d.].*") \([a-z ]+\); perhaps try .*`), `$1 is negative, which no number of the command line may be`},
	{regexp.MustCompile(`expected \w+ value but got ("-.*") \([a-z ]+\); perhaps try .*`), `$1 begins like a flag: if it is the value, write it behind a =`},
	{regexp.MustCompile(`expected a valid \d+ bit u?int but got (".*")`), `$1 is not a number`},
	{regexp.MustCompile(`expected duration but got (".*?"): .*`), `$1 is not a duration: write for example 500ms, 10s or 5m`},
	{regexp.MustCompile(`^unexpected argument (.*?)(, did you mean .*)?$`), `$1 is neither a verb nor an argument of one$2`},
	{regexp.MustCompile(`^expected one of (.*)$`), `a verb is missing: $1`},
}

// usage returns a mistake on the command line in this program's words.
func usage(err error) string {
	text := err.Error()
	for _, w := range parserWords {
		text = w.theirs.ReplaceAllString(text, w.ours)
	}
	return text
}
