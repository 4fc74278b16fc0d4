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

ATTACKS: Final = (
    Attack("test_connections", "connections_of_a_user_do_not_end_the_agent", USER),
    Attack("test_connections", "a_user_who_holds_connections_keeps_no_other_user_out", USER),
    Attack("test_connections", "content_that_a_user_may_not_send_is_not_kept", USER),
    Attack("test_connections", "no_descriptor_left_is_no_end_of_the_agent", LACK),
    Attack("test_connections", "no_thread_left_is_no_end_of_the_agent", LACK),
    Attack("test_connections", "a_plan_of_foreign_content_is_for_root", USER),
    Attack("test_requests", "a_malformed_request_is_a_bad_request", USER),
    Attack("test_requests", "who_says_nothing_more_is_cut_off", USER),
    Attack("test_requests", "who_says_a_letter_at_a_time_is_cut_off", USER),
    Attack("test_requests", "who_does_not_read_is_cut_off", USER),
    Attack("test_requests", "a_user_has_few_connections_and_all_have_a_few_more", USER),
    Attack("test_requests", "answers_that_are_not_read_do_not_fill_the_memory", USER),
    Attack("test_requests", "all_users_together_have_a_quarter_of_a_processor", USER),
    Attack("test_requests", "the_tcp_port_has_the_same_limits", HOST),
    Attack("test_files", "a_small_text_does_not_become_much_memory", AUTHOR),
    Attack("test_files", "what_is_no_file_is_refused_with_words", AUTHOR),
    Attack("test_files", "a_record_of_another_user_does_not_become_the_cluster_file", SHARED),
    Attack("test_files", "nothing_is_written_where_another_user_can_write", SHARED),
    Attack("test_files", "a_draft_that_is_a_link_is_not_written_through", SHARED),
    Attack("test_files", "a_damaged_record_is_moved_aside", LOSS),
    Attack("test_files", "a_run_directory_of_another_user_is_refused", SHARED),
    Attack("test_files", "a_password_in_no_file_or_an_empty_one_is_refused", AUTHOR),
    Attack("test_locks", "the_name_of_the_namespace_taken_by_a_user_keeps_no_agent_out", USER),
    Attack("test_locks", "the_directory_of_the_cluster_file_locked_by_a_user_stops_no_change", USER),
    Attack("test_parts", "a_part_that_fails_takes_the_agent_along", DEFECT),
    Attack("test_parts", "damaged_files_are_replaced", LOSS),
    Attack("test_parts", "a_full_disk_is_no_end_of_the_agent", LACK),
    Attack("test_parts", "an_exabgp_without_its_run_directory_is_found", LOSS),
    Attack("test_parts", "a_cleanup_that_cannot_end_exabgp_says_so", LOSS),
)
