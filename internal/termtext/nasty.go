package termtext

// Nasty are strings that a hostile peer may send, for tests of all text output for operators. The
// escaped output must contain none of [Forbidden].
var Nasty = []string{
	"\x1b[2J\x1b[H",          // clears the screen
	"\x1b]0;title\x07",       // sets the title of the window
	"\x1b]52;c;cm0gLXJm\x07", // writes the clipboard
	`\x1b[31mred`,            // an escape sequence in printable form
	"\u009b31mred",           // a C1 control sequence introducer
	"a\rb",                   // overwrites the line
	"a\nb: forged line",      // a second line
	"a\x08\x08b",             // backspaces
	"\x00nul",
	"\x7f",
	"\u202Edesrever\u2066", // changes the direction of the text
	"\u2028line separator",
	"\xff\xfeinvalid UTF-8\xc3",
	"\x05", // ENQ: some terminals send a reply
}

// Forbidden are the bytes and characters that must not reach a terminal.
var Forbidden = []string{"\x1b", "\x07", "\u009b", "\r", "\x08", "\x00", "\x7f", "\u202e", "\u2066", "\u2028", "\xff", "\x05"}
