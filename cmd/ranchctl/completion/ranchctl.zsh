#compdef ranchctl
# zsh completion for ranchctl: source <(ranchctl completion zsh)
_ranchctl() {
	_arguments -S \
		'(-c --connect)'{-c,--connect}'[address of the shell]:address:' \
		'--connect-timeout[time limit for connecting]:time:' \
		'--token-file[file with the token]:file:_files' \
		'--ca[CA certificates]:file:_files' \
		'--cert[client certificate]:file:_files' \
		'--key[private key of --cert]:file:_files' \
		'--server-name[name in the server certificate]:name:' \
		'--insecure-skip-verify[accept any server certificate]' \
		'(-o --output)'{-o,--output}'[format of results]:format:(text json)' \
		'--timeout[time limit of a command]:time:' \
		'--keep-going[continue after a command that failed]' \
		'--version[print the version]' \
		'(-h --help)'{-h,--help}'[print help]' \
		'1:command:(help status connections stats completion)'
}
compdef _ranchctl ranchctl
