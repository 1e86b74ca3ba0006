#compdef ranchctl
# zsh completion for ranchctl: source <(ranchctl completion zsh)
_ranchctl() {
	_arguments -S \
		'(-c --connect)'{-c,--connect}'[the shell to connect to]:address:' \
		'--connect-timeout[how long connecting may take]:time:' \
		'--token-file[what to authenticate with]:file:_files' \
		'--ca[who may sign the certificate]:file:_files' \
		'--cert[certificate to present]:file:_files' \
		'--key[key of --cert]:file:_files' \
		'--server-name[name in the certificate]:name:' \
		'--insecure-skip-verify[accept every certificate]' \
		'(-o --output)'{-o,--output}'[format of results]:format:(text json)' \
		'--timeout[how long a command may take]:time:' \
		'--keep-going[go on after a command that failed]' \
		'--version[which build this is]' \
		'(-h --help)'{-h,--help}'[help]' \
		'1:command:(help status connections stats completion)'
}
compdef _ranchctl ranchctl
