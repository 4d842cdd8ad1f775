//! What is done with units, and what of it fails.

use super::*;

fn run_again(system: &Memory, text: &str) -> Ran {
    run_on(system, &[], text.as_bytes(), facts())
}

#[test]
fn a_socket_is_restarted_together_with_its_service() {
    for verb in ["start", "restart", "try-restart", "reload-or-restart"] {
        let system = Memory::new("core-01");
        system.set_active("fleet.socket", true);
        system.set_active("fleet.service", true);
        let text = format!(
            "#cloud-config\ncoreos:\n  units:\n    - name: fleet.socket\n      command: {verb}\n      drop-ins:\n        - name: a.conf\n          content: |\n            [Socket]\n            ListenStream=49153\n"
        );
        let ran = run_again(&system, &text);
        assert_eq!(ran.code, 0, "{:?}", ran.said);
        let told = "systemctl restart fleet.socket fleet.service".to_owned();
        assert!(ran.changes.contains(&told), "{verb}: {:?}", ran.changes);
        assert!(!ran.changes.iter().any(|c| c.contains("stop")), "{:?}", ran.changes);
        assert_eq!(run_again(&system, &text).said, ["unchanged"], "{verb}");
        // Nobody is behind it: it goes alone.
        system.set_active("fleet.service", false);
        let ran = run_again(&system, &text.replace("49153", "49154"));
        assert!(!ran.changes.contains(&told), "{verb}: {:?}", ran.changes);
        assert_eq!(ran.code, 0, "{:?}", ran.said);
    }
}
