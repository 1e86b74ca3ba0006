%% An echo server on Ranch, which bench compares with. Arguments: port, and for TLS the files of
%% certificate and key.
-module(bench_ranch).
-behaviour(ranch_protocol).

-export([main/1]).
-export([start_link/3, init/2]).

main([Port | Files]) ->
	{ok, _} = application:ensure_all_started(ranch),
	{Transport, Extra} = case Files of
		[] -> {ranch_tcp, []};
		[Cert, Key] -> {ranch_ssl, [{certfile, atom_to_list(Cert)}, {keyfile, atom_to_list(Key)}, {versions, ['tlsv1.3']}]}
	end,
	{ok, _} = ranch:start_listener(bench, Transport, #{
		num_acceptors => 10,
		max_connections => infinity,
		socket_opts => [{ip, {127, 0, 0, 1}}, {port, list_to_integer(atom_to_list(Port))}, {backlog, 4096}, {nodelay, true} | Extra]
	}, ?MODULE, []).

start_link(Ref, Transport, _Options) ->
	{ok, spawn_link(?MODULE, init, [Ref, Transport])}.

init(Ref, Transport) ->
	{ok, Socket} = ranch:handshake(Ref),
	loop(Socket, Transport).

loop(Socket, Transport) ->
	case Transport:recv(Socket, 0, infinity) of
		{ok, Data} ->
			_ = Transport:send(Socket, Data),
			loop(Socket, Transport);
		{error, _} ->
			Transport:close(Socket)
	end.
