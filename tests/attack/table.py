"""The attacks: the file and the name of each test, and the kind of attacker. A test compares it with the files."""

from __future__ import annotations

from typing import Final, NamedTuple


class Attack(NamedTuple):
    """An attack; `name` is that of its test, without `test_`."""

    file: str
    name: str
    kind: str


USER: Final = "local user"
HOST: Final = "host that reaches the health port"
AUTHOR: Final = "author of a file"
SHARED: Final = "user who can write to a directory"
LACK: Final = "lack of resources"
DEFECT: Final = "defect of a part"
LOSS: Final = "damaged or lost files"
NEIGHBOUR: Final = "host on the underlay"
MEMBER: Final = "member of the cluster"
PEER: Final = "BGP neighbour"
WORKLOAD: Final = "workload"
NONE: Final = "none: what has to pass beside the attacks"

ATTACKS: Final = (
    Attack("test_bgp_peers", "a_packet_that_crossed_a_router_is_no_members", WORKLOAD),
    Attack("test_bgp_peers", "requests_for_the_table_have_one_answer_a_second", PEER),
    Attack("test_bgp_peers", "keepalives_without_end_cost_little", PEER),
    Attack("test_bgp_peers", "a_peer_that_opens_and_closes_has_few_sessions", PEER),
    Attack("test_bgp_port", "an_address_of_a_pool_reaches_no_bgp_port", WORKLOAD),
    Attack("test_bgp_port", "the_first_workload_is_filtered_before_its_link_is_seen", WORKLOAD),
    Attack("test_connections", "connections_of_a_user_do_not_end_the_agent", USER),
    Attack("test_connections", "a_user_who_holds_connections_keeps_no_other_user_out", USER),
    Attack("test_connections", "content_that_a_user_may_not_send_is_not_kept", USER),
    Attack("test_connections", "no_descriptor_left_is_no_end_of_the_agent", LACK),
    Attack("test_connections", "no_thread_left_is_no_end_of_the_agent", LACK),
    Attack("test_connections", "a_plan_of_foreign_content_is_for_root", USER),
    Attack("test_connections", "a_kernel_with_all_that_decides_is_for_root", USER),
    Attack("test_requests", "a_malformed_request_is_a_bad_request", USER),
    Attack("test_requests", "who_says_nothing_more_is_cut_off", USER),
    Attack("test_requests", "who_says_a_letter_at_a_time_is_cut_off", USER),
    Attack("test_requests", "who_does_not_read_is_cut_off", USER),
    Attack("test_requests", "a_user_has_few_connections_and_all_have_a_few_more", USER),
    Attack("test_requests", "idle_connections_keep_no_other_program_of_the_user_out", HOST),
    Attack("test_requests", "answers_that_are_not_read_do_not_fill_the_memory", USER),
    Attack("test_requests", "an_answer_takes_as_long_as_it_takes", NONE),
    Attack("test_requests", "who_is_slow_to_send_content_keeps_no_other_user_waiting", USER),
    Attack("test_requests", "content_of_all_users_together_does_not_fill_the_memory", USER),
    Attack("test_requests", "all_users_together_have_a_quarter_of_a_processor", USER),
    Attack("test_requests", "the_tcp_port_has_the_same_limits", HOST),
    Attack("test_files", "a_small_text_does_not_become_much_memory", AUTHOR),
    Attack("test_files", "what_is_no_file_is_refused_with_words", AUTHOR),
    Attack("test_files", "a_pipe_of_the_shell_is_read", NONE),
    Attack("test_files", "a_record_of_another_user_does_not_become_the_cluster_file", SHARED),
    Attack("test_files", "nothing_is_written_where_another_user_can_write", SHARED),
    Attack("test_files", "a_draft_that_is_a_link_is_not_written_through", SHARED),
    Attack("test_files", "a_damaged_record_is_moved_aside", LOSS),
    Attack("test_files", "a_run_directory_of_another_user_is_refused", SHARED),
    Attack("test_files", "a_password_in_no_file_or_an_empty_one_is_refused", AUTHOR),
    Attack("test_files", "what_is_no_name_of_a_file_is_refused_with_words", AUTHOR),
    Attack("test_locks", "the_name_of_the_namespace_taken_by_a_user_keeps_no_agent_out", USER),
    Attack("test_locks", "an_agent_is_seen_by_its_name_alone", USER),
    Attack("test_locks", "the_name_alone_taken_by_a_user_keeps_no_agent_out", USER),
    Attack("test_locks", "the_directory_of_the_cluster_file_locked_by_a_user_stops_no_change", USER),
    Attack("test_parts", "a_part_that_fails_takes_the_agent_along", DEFECT),
    Attack("test_parts", "damaged_files_are_replaced", LOSS),
    Attack("test_parts", "a_full_disk_is_no_end_of_the_agent", LACK),
    Attack("test_parts", "an_exabgp_without_its_run_directory_is_found", LOSS),
    Attack("test_parts", "a_cleanup_that_cannot_end_exabgp_says_so", LOSS),
    Attack("test_parts", "a_process_that_names_the_programs_of_exabgp_is_none", NONE),
    Attack("test_parts", "what_cannot_be_watched_takes_no_descriptors", LACK),
    Attack("test_tunnels", "a_stranger_reaches_no_workload", NEIGHBOUR),
    Attack("test_tunnels", "a_stranger_is_not_relayed_to_a_third_host", NEIGHBOUR),
    Attack("test_tunnels", "a_stranger_gets_no_packet_into_the_world_with_the_nodes_address", NEIGHBOUR),
    Attack("test_tunnels", "a_stranger_with_another_vni_reaches_no_workload", NEIGHBOUR),
    Attack("test_tunnels", "a_strangers_fragments_reach_no_workload", NEIGHBOUR),
    Attack("test_tunnels", "a_member_sends_from_its_own_block", NONE),
    Attack("test_tunnels", "a_members_fragments_arrive", NONE),
    Attack("test_tunnels", "nobody_gives_the_node_a_default_route_by_a_tunnel", NEIGHBOUR),
    Attack("test_tunnels_inner", "a_member_sends_from_no_address_outside_the_pools", MEMBER),
    Attack("test_tunnels_inner", "a_member_sends_from_no_address_of_the_receiver", MEMBER),
    Attack("test_tunnels_inner", "a_member_is_not_relayed_to_a_third_host", MEMBER),
    Attack("test_tunnels_inner", "a_member_gets_no_packet_into_the_world_with_the_nodes_address", MEMBER),
    Attack("test_tunnels_inner", "a_member_reaches_no_service_at_the_nodes_address_on_the_underlay", MEMBER),
    Attack("test_tunnels_inner", "a_packet_without_a_life_left_is_not_let_in", MEMBER),
    Attack("test_tunnels_inner", "a_tunnel_device_learns_no_neighbour", MEMBER),
    Attack("test_tunnels_probes", "the_host_that_was_asked_answers", NONE),
    Attack("test_tunnels_probes", "another_host_cannot_answer_in_its_place", NEIGHBOUR),
    Attack("test_tunnels_probes", "a_host_that_has_not_seen_the_request_cannot_answer", NEIGHBOUR),
    Attack("test_tunnels", "a_strangers_packet_cut_in_two_reaches_no_workload", NEIGHBOUR),
    Attack("test_tunnels", "a_strangers_packet_cut_in_two_is_counted", NEIGHBOUR),
    Attack("test_tunnels", "a_members_packet_cut_in_two_arrives", NONE),
    Attack("test_workloads", "a_workload_sends_from_no_address_but_its_own", WORKLOAD),
    Attack("test_workloads", "a_workload_sends_nothing_forged_into_the_world", WORKLOAD),
    Attack("test_workloads", "a_workload_sends_no_ip_in_ip_to_a_member", WORKLOAD),
    Attack("test_workloads", "a_workload_sends_no_ip_in_ip_to_another_workload", WORKLOAD),
    Attack("test_workloads", "a_workload_sends_nothing_to_the_tunnels_port_of_a_member", WORKLOAD),
    Attack("test_workloads", "a_workload_sends_nothing_to_the_tunnels_port_cut_in_two", WORKLOAD),
    Attack("test_workloads", "a_workload_speaks_no_bgp_to_a_member", WORKLOAD),
    Attack("test_workloads", "a_workload_speaks_no_bgp_to_a_member_with_its_own_address", WORKLOAD),
    Attack("test_workloads", "a_workload_speaks_no_bgp_to_its_node", WORKLOAD),
    Attack("test_workloads", "a_workload_speaks_both_to_other_workloads", NONE),
    Attack("test_workloads", "a_workload_speaks_other_protocols_to_a_member", NONE),
    Attack("test_workloads", "nothing_leaves_with_an_address_that_is_unknown_outside", WORKLOAD),
    Attack("test_workloads", "what_is_not_translated_leaves_as_it_is", NONE),
    Attack("test_workloads", "a_workload_is_nobody_elses_ipv4_neighbour", WORKLOAD),
    Attack("test_workloads", "a_workload_is_nobody_elses_ipv6_neighbour", WORKLOAD),
    Attack("test_workloads", "a_workload_is_no_router_of_its_node", WORKLOAD),
    Attack("test_tunnels", "a_stranger_is_counted_and_named", NEIGHBOUR),
    Attack("test_tunnels_inner", "what_a_member_may_not_send_is_counted_and_its_inner_source_named", MEMBER),
)
