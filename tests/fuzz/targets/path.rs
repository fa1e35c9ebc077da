//! One interpretation: the form that a path or host is given is a fixed point, and holds nothing that could be read twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vestibule::routing::target;

fuzz_target!(|raw: &str| {
    if let Ok(path) = target::path(raw) {
        let text = path.text.as_ref();
        assert!(text.starts_with('/'));
        assert!(
            !text.contains("//"),
            "{raw:?} keeps an empty element: {text:?}"
        );
        assert!(
            !text.split('/').any(|element| matches!(element, "." | "..")),
            "{raw:?} keeps a dot segment: {text:?}"
        );
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
        let again = target::path(text).expect("its form is a path");
        assert_eq!(again.text, text, "the form of {raw:?} has another form");
        // One that stood in an element which `..` took away is still told of, to be on the safe side.
        assert!(path.encoded_separator || !again.encoded_separator);
    }
    if let Ok(host) = target::host(raw) {
        assert!(!host.is_empty());
        let again = target::host(&host).expect("its form is a host");
        assert_eq!(again, host, "the form of {raw:?} has another form");
        assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
});
