package main

const description = `Runs commands in the shell of a server such as ranchd. Without a command it shows a prompt if stdin and ` +
	`stdout are terminals; otherwise it reads commands from stdin, one per line.`

const helpTail = `
Flags of ranchctl precede the command; everything after the command's name belongs to the
command. All flags except --version and --help can be set in the environment, --connect as
RANCHCTL_CONNECT and so on. The command line takes precedence.

Keys at the prompt: Tab completes; Up, Down and Ctrl-R search the history; Ctrl-C clears the
line or cancels the running command; Ctrl-D ends the session.

Examples:
  ranchctl status
  ranchctl connections --sort bytes --limit 5
  ranchctl -o json connections | jq -r '.[].peer'
  ranchctl --connect tls://admin.example.org:8443 --ca site.pem --token-file ~/.ranch-token
  ranchctl bots --clients 10000           load a topic server; see ranchctl bots --help
  ranchctl token operator ann             create a token; see ranchctl token --help
  source <(ranchctl completion bash)      also zsh and fish

`

const exitHelp = `Exit codes:
  0    success
  1    the command failed, was cancelled or exceeded --timeout
  2    invalid flags, unknown command or invalid arguments
  3    connecting failed, or the connection ended before the answer
  4    permission denied
  130  interrupted a second time, without waiting for the answer
With several commands the code is that of the first one that failed.
`
