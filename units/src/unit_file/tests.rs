use super::*;

#[test]
fn hashes_are_those_of_fleet() {
    for (text, hash) in [
        ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (
            "[Service]\nExecStart=/bin/sleep 100\n",
            "1c6fb6f3684bafb0c173d8b8b957ceff031180c1",
        ),
        (
            "[Service]\nExecStart=/bin/true\n",
            "86943ac9f3754cb90f8dd38bf6da7b0cad074592",
        ),
        (
            "[Unit]\nDescription=some description\n",
            "a0f275d46bc6ee0eca06be7c339913c07d99c0c7",
        ),
    ] {
        let file = UnitFile::parse(text).unwrap();
        assert_eq!(file.hash().to_string(), hash, "{text:?}");
        assert_eq!(file.hash().short(), &hash[..7]);
        assert_eq!(
            UnitFile::from_options(file.options().to_vec()).unwrap().hash(),
            file.hash()
        );
    }
}
