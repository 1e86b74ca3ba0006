package adminhttp

// schemas are the components of the OpenAPI description.
var schemas = object{
	"Error": closed(object{
		"error": closed(object{
			"message":    text("What is wrong, and what is allowed."),
			"suggestion": text("A name that may have been meant."),
			"code":       text("denied, unknown, usage or cancelled."),
		}, "message"),
	}, "error"),
	"Result": closed(object{
		"result":  object{"description": "A table is an array with an object for each row, fields are an object. Sizes are in bytes, durations in seconds, times in RFC 3339."},
		"columns": list(titled, "The columns of a table."),
		"fields":  list(titled, "The titles of fields."),
		"total":   object{"type": "integer", "description": "The number of rows that exist if the table has only a part of them."},
		"out":     text("The text that the command has shown meanwhile."),
		"frames":  list(object{"type": "object"}, "Intermediate results."),
	}, "result"),
	"Line": object{
		"type":        "object",
		"description": "One of: {\"out\": text}; an intermediate result with \"frame\": true; at the end a result or an error.",
	},
	"Ticket": closed(object{"ticket": text("The ticket of a link to the dashboard.")}, "ticket"),
	"Session": closed(object{
		"user": text("The name of the user."), "role": object{"enum": []string{"guest", "viewer", "operator"}},
		"token": text("The token of the login."), "expires": object{"type": "string", "format": "date-time"}, "version": text("The version of the server."),
	}, "user", "role", "version"),
	"Commands": closed(object{"commands": list(closed(object{
		"name": text(""), "usage": text(""), "help": text(""), "role": text("The role that it requires."),
		"allowed": object{"type": "boolean", "description": "The client has the role."},
		"changes": object{"type": "boolean", "description": "It changes something, and is recorded in the audit log."},
		"flags": list(closed(object{
			"name": text(""), "value": text("A placeholder; absent for a switch."), "help": text(""), "choices": list(text(""), "The allowed values."),
		}, "name", "help"), ""),
	}, "name", "usage", "help", "role", "allowed", "changes", "flags"), "")}, "commands"),
}

// titled describes a column or a field.
var titled = closed(object{
	"key": text("The name of the member."), "title": text("A heading."),
	"kind":  object{"enum": []string{"bytes", "duration", "time"}},
	"right": object{"type": "boolean", "description": "Aligned to the right."},
	"wide":  object{"type": "boolean", "description": "Omitted first where space is short."},
}, "key")

func text(help string) object {
	o := object{"type": "string"}
	if help != "" {
		o["description"] = help
	}
	return o
}

func list(items object, help string) object {
	return object{"type": "array", "items": items, "description": help}
}

// closed returns an object without other members than these.
func closed(properties object, required ...string) object {
	return object{"type": "object", "additionalProperties": false, "properties": properties, "required": required}
}
