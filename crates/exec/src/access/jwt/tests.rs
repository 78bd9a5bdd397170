use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use longshore_core::{Action, Cleanup, Timestamp, testkit::ManualClock};
use proptest::prelude::*;
use ring::{hmac, rand::SystemRandom, signature};
use serde_json::{Value, json};

use super::*;
use crate::access::{Credentials, Place};

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"thirty-two bytes of a test secret";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs as an issuer does, over whatever header and payload.
fn signed(header: &str, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", encode(signature))
}

fn hs256(message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    hmac::sign(&key, message).as_ref().to_vec()
}

fn claims() -> Value {
    json!({
        "iss": "https://sso.example", "aud": "longshore", "sub": "ann",
        "exp": NOW + 600, "groups": ["developers"],
    })
}

fn token(claims: &Value) -> String {
    signed(r#"{"alg":"HS256"}"#, &claims.to_string(), hs256)
}

fn rules(algorithms: &[&str]) -> JwtRules {
    let rules = json!({
        "issuer": "https://sso.example",
        "audiences": ["longshore", "other"],
        "algorithms": algorithms,
        "grants_claim": "/longshore/places",
        "grants": [
            {"group": "developers", "enter": ["container:shop/web/*"], "read": ["*"]},
            {"user": "bob", "read": ["records:*"]},
            {"everybody": true, "read": ["lobby"]},
        ],
    });
    JwtRules::parse(&rules.to_string()).unwrap()
}

fn access(algorithms: &[&str], keys: JwtKeys) -> JwtAccess {
    let clock = ManualClock::new(Timestamp::from_secs(NOW));
    JwtAccess::new(rules(algorithms), keys, Arc::new(clock)).unwrap()
}

fn by_secret() -> JwtAccess {
    access(&["HS256"], JwtKeys::secret(None, SECRET).unwrap())
}

fn ask(access: &JwtAccess, token: &str, action: Action, place: &str) -> Result<Admission> {
    let credentials = Credentials::new(Some(token.to_owned()));
    let place = match place {
        "records:*" => Place::Records,
        name => Place::Container(name.to_owned()),
    };
    let request = AccessRequest::new(credentials, action, place);
    futures::FutureExt::now_or_never(access.admit(&request)).expect("it waits for nothing")
}

fn enter(access: &JwtAccess, token: &str) -> Result<Admission> {
    ask(access, token, Action::Enter, "shop/web/1")
}

#[track_caller]
fn refused(access: &JwtAccess, token: &str, why: &str) {
    let error = enter(access, token).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(error.to_string().contains(why), "{error}");
    if let Some(signature) = token.rsplit('.').next().filter(|part| part.len() > 8) {
        assert!(!format!("{error:?}").contains(signature));
    }
}

#[test]
fn users_groups_and_what_they_may_do_come_from_the_claims() {
    let access = by_secret();
    let ann = enter(&access, &token(&claims())).unwrap();
    assert_eq!(
        ann.who,
        Identity::new("ann", "token of https://sso.example")
    );
    // With the leeway: until then it would be let in again.
    assert_eq!(ann.access.valid_for, Some(Duration::from_secs(630)));
    let other = |change: Value| {
        let mut all = claims();
        for (name, value) in change.as_object().unwrap() {
            all[name] = value.clone();
        }
        token(&all)
    };
    let bob = other(json!({"sub": "bob", "groups": []}));
    let granted = other(json!({
        "sub": "eve", "groups": "guests", "longshore": {"places": {"enter": ["db"], "read": ["web*"]}},
    }));
    for (token, action, place, allowed) in [
        (&bob, Action::Read, "records:*", true),
        // A container of such a name.
        (&bob, Action::Read, "records", false),
        (&bob, Action::Read, "lobby", true),
        (&bob, Action::Read, "web", false),
        (&bob, Action::Enter, "records:*", false),
        (&granted, Action::Enter, "db", true),
        (&granted, Action::Read, "web-1", true),
        (&granted, Action::Enter, "web-1", false),
        (&granted, Action::Administer, "db", false),
    ] {
        let answer = ask(&access, token, action, place);
        assert_eq!(answer.is_ok(), allowed, "{action:?} {place}");
        if let Err(error) = answer {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
    }
}

/// Of several grants that open a place the one counts that allows most; one that says nothing leaves it to
/// the gateway.
#[test]
fn what_may_be_left_behind_comes_with_the_grant_for_the_place() {
    let rules = json!({
        "issuer": "https://sso.example", "audiences": ["longshore"], "algorithms": ["HS256"],
        "grants_claim": "places",
        "grants": [
            {"group": "developers", "enter": ["web*"], "least_cleanup": "tree"},
            {"user": "ann", "enter": ["web-1"], "least_cleanup": "foreground"},
            {"group": "admins", "enter": ["*"]},
        ],
    });
    let rules = JwtRules::parse(&rules.to_string()).unwrap();
    let clock = ManualClock::new(Timestamp::from_secs(NOW));
    let access = JwtAccess::new(
        rules,
        JwtKeys::secret(None, SECRET).unwrap(),
        Arc::new(clock),
    )
    .unwrap();
    let least = |change: Value, place: &str| {
        let mut all = claims();
        for (name, value) in change.as_object().unwrap() {
            all[name] = value.clone();
        }
        ask(&access, &token(&all), Action::Enter, place)
            .unwrap()
            .least_cleanup
    };
    assert_eq!(least(json!({}), "web-2"), Some(Cleanup::Tree));
    assert_eq!(least(json!({}), "web-1"), Some(Cleanup::Foreground));
    assert_eq!(least(json!({"sub": "bob"}), "web-1"), Some(Cleanup::Tree));
    let admin = json!({"groups": ["developers", "admins"]});
    assert_eq!(least(admin, "web-1"), None);
    let own = json!({"places": {"enter": ["db"], "least_cleanup": "none"}});
    assert_eq!(least(own.clone(), "db"), Some(Cleanup::Nothing));
    assert_eq!(
        least(own, "web-2"),
        Some(Cleanup::Tree),
        "it is for other places"
    );
    for wrong in [json!("nothing"), json!(1)] {
        let mut all = claims();
        all["places"] = json!({"enter": ["db"], "least_cleanup": wrong});
        refused(&access, &token(&all), "not of the form");
        let rules = json!({
            "issuer": "i", "audiences": ["a"], "algorithms": ["HS256"],
            "grants": [{"user": "ann", "enter": ["db"], "least_cleanup": wrong}],
        });
        let error = JwtRules::parse(&rules.to_string()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn time_is_the_given_clock_s() {
    let access = by_secret();
    let at = |exp: Value, nbf: Value| {
        let mut all = claims();
        (all["exp"], all["nbf"]) = (exp, nbf);
        token(&all)
    };
    assert!(enter(&access, &at(json!(NOW - 29), json!(NOW + 30))).is_ok());
    assert!(enter(&access, &at(json!(NOW as f64 + 0.5), json!(0))).is_ok());
    refused(&access, &at(json!(NOW - 30), json!(0)), "has expired");
    refused(&access, &at(json!(0), json!(0)), "has expired");
    refused(
        &access,
        &at(json!(NOW + 600), json!(NOW + 31)),
        "does not count yet",
    );
    refused(&access, &at(json!(-1), json!(0)), "exp is not a time");
    refused(&access, &at(json!(1e300), json!(0)), "exp is not a time");
    refused(&access, &at(json!("1900000000"), json!(0)), "claims");
    refused(&access, &at(json!(null), json!(0)), "claims");
}

#[test]
fn claims_that_are_not_ours_are_refused() {
    let access = by_secret();
    let with = |name: &str, value: Value| {
        let mut all = claims();
        all[name] = value;
        token(&all)
    };
    let without = |name: &str| {
        let mut all = claims();
        all.as_object_mut().unwrap().remove(name);
        token(&all)
    };
    assert!(enter(&access, &with("aud", json!(["x", "other"]))).is_ok());
    refused(
        &access,
        &with("iss", json!("https://sso.example/")),
        "another issuer",
    );
    refused(
        &access,
        &with("aud", json!("longshore2")),
        "another audience",
    );
    refused(&access, &with("aud", json!([])), "another audience");
    refused(&access, &with("sub", json!("")), "whose it is");
    refused(&access, &with("sub", json!("a\u{1b}[2J")), "whose it is");
    refused(&access, &with("sub", json!(7)), "whose it is");
    refused(&access, &with("sub", json!("x".repeat(300))), "whose it is");
    refused(&access, &with("groups", json!({"a": 1})), "groups");
    refused(
        &access,
        &with("longshore", json!({"places": {"enter": 7}})),
        "grants",
    );
    for name in ["iss", "aud", "exp", "sub"] {
        assert!(enter(&access, &without(name)).is_err(), "{name}");
    }
    for payload in [
        "",
        "[]",
        "7",
        "{",
        &"[".repeat(5000),
        r#"{"exp":1,"exp":9999999999}"#,
    ] {
        refused(
            &access,
            &signed(r#"{"alg":"HS256"}"#, payload, hs256),
            "claims",
        );
    }
}

/// An Ed25519 key of this test alone, and the set that an issuer would publish of it.
fn ed25519() -> (signature::Ed25519KeyPair, String) {
    let pair = signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = encode(signature::KeyPair::public_key(&pair));
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x}]});
    (pair, set.to_string())
}

#[test]
fn a_public_key_is_never_a_secret() {
    let (pair, set) = ed25519();
    let public = signature::KeyPair::public_key(&pair).as_ref().to_vec();
    // Both kinds of algorithm are allowed, and a secret is known, too.
    let keys = JwtKeys::parse(&set)
        .unwrap()
        .with(JwtKeys::secret(Some("k2"), SECRET).unwrap());
    let access = access(&["EdDSA", "HS256"], keys);
    let forged = |message: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &public);
        hmac::sign(&key, message).as_ref().to_vec()
    };
    let payload = claims().to_string();
    refused(
        &access,
        &signed(r#"{"alg":"HS256","kid":"k1"}"#, &payload, forged),
        "not known",
    );
    refused(
        &access,
        &signed(r#"{"alg":"HS256","kid":"k2"}"#, &payload, forged),
        "signature",
    );
    refused(
        &access,
        &signed(r#"{"alg":"HS256"}"#, &payload, forged),
        "signature",
    );
    let good = |message: &[u8]| pair.sign(message).as_ref().to_vec();
    assert!(
        enter(
            &access,
            &signed(r#"{"alg":"EdDSA","kid":"k1"}"#, &payload, good)
        )
        .is_ok()
    );
    refused(
        &access,
        &signed(r#"{"alg":"EdDSA","kid":"k2"}"#, &payload, good),
        "not known",
    );
    refused(
        &access,
        &signed(r#"{"alg":"HS256","kid":"k1"}"#, &payload, good),
        "not known",
    );
}

#[test]
fn what_is_not_signed_as_it_should_be_is_refused() {
    let access = by_secret();
    let payload = claims().to_string();
    let nothing = |_: &[u8]| Vec::new();
    for alg in ["none", "None", "NONE", "", "hs256", "HS512", "RS256", "XX"] {
        let header = json!({ "alg": alg }).to_string();
        refused(&access, &signed(&header, &payload, nothing), "not allowed");
        refused(&access, &signed(&header, &payload, hs256), "not allowed");
    }
    refused(
        &access,
        &signed(r#"{"alg":"HS256"}"#, &payload, nothing),
        "signature",
    );
    let short = |message: &[u8]| hs256(message)[..16].to_vec();
    refused(
        &access,
        &signed(r#"{"alg":"HS256"}"#, &payload, short),
        "signature",
    );
    for (header, why) in [
        (r#"{"alg":"HS256","crit":["exp"]}"#, "extensions"),
        (
            r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
            "extensions",
        ),
        (r#"{"alg":"HS256","typ":"dpop+jwt"}"#, "another use"),
        (r#"{"alg":"HS256","alg":"HS256"}"#, "header"),
        (r#"{"alg":["HS256"]}"#, "header"),
        (r#"{}"#, "header"),
        ("", "header"),
    ] {
        refused(&access, &signed(header, &payload, hs256), why);
    }
    // Keys and addresses of keys that a token brings along change nothing.
    let (pair, _) = ed25519();
    let jwk = json!({"alg": "EdDSA", "jku": "http://evil.example", "jwk": {"kty": "OKP", "crv": "Ed25519",
        "x": encode(signature::KeyPair::public_key(&pair))}});
    let own = signed(&jwk.to_string(), &payload, |message| {
        pair.sign(message).as_ref().to_vec()
    });
    refused(&access, &own, "not allowed");
    let good = token(&claims());
    for malformed in [
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
        good.replace('.', ""),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}="),
        format!("{good}.{good}"),
        format!(" {good}"),
        good.replacen('.', "\0.", 1),
        "é.é.é".to_owned(),
    ] {
        let why = if malformed.is_empty() {
            "no token"
        } else {
            "token"
        };
        refused(&access, &malformed, why);
    }
    refused(&access, &"a".repeat(20_000), "longer than");
}

proptest! {
    /// No other text counts as the token, however near.
    #[test]
    fn no_changed_letter_is_overlooked(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=+/-]") {
        let access = by_secret();
        let good = token(&claims());
        let at = at.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(at..=at, &to);
        prop_assume!(changed != good);
        prop_assert!(enter(&access, &changed).is_err());
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,60}", parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 3)) {
        let access = by_secret();
        prop_assert!(enter(&access, &text).is_err());
        let parts: Vec<_> = parts.iter().map(encode).collect();
        prop_assert!(enter(&access, &parts.join(".")).is_err());
        let _ = (JwtKeys::parse(&text), JwtRules::parse(&text));
    }
}

/// Tokens and keys of the RFCs' own examples, so that not only what this test has signed is read.
#[test]
fn the_standards_own_examples_are_good_and_only_with_their_keys() {
    let examples = [
        // RFC 7515, A.1.
        (
            "HS256",
            json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        // RFC 7515, A.2.
        (
            "RS256",
            json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}),
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        // RFC 7515, A.3.
        (
            "ES256",
            json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        // RFC 8037, A.4.
        (
            "EdDSA",
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];
    let all: Vec<_> = ["HS256", "RS256", "ES256", "EdDSA"]
        .map(|name| JwtAlgorithm::parse(name).unwrap())
        .into();
    for (own, (algorithm, _, token)) in examples.iter().enumerate() {
        for (other, (_, key, _)) in examples.iter().enumerate() {
            let keys = JwtKeys::parse(&json!({"keys": [key]}).to_string()).unwrap();
            let verify =
                |allowed: &[JwtAlgorithm]| Token::parse(token).unwrap().verify(&keys, allowed);
            assert_eq!(verify(&all).is_ok(), own == other, "{algorithm} {other}");
            let others: Vec<_> = all
                .iter()
                .copied()
                .filter(|one| one.name() != *algorithm)
                .collect();
            assert!(verify(&others).is_err(), "{algorithm} is not on the list");
        }
    }
}

#[test]
fn ecdsa_tokens_are_read_as_issuers_sign_them() {
    let random = SystemRandom::new();
    for (name, curve, length, signing, public) in [
        (
            "ES256",
            "P-256",
            32,
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            65,
        ),
        (
            "ES384",
            "P-384",
            48,
            &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            97,
        ),
    ] {
        let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let pair = signature::EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random).unwrap();
        let point = signature::KeyPair::public_key(&pair).as_ref();
        assert_eq!(point.len(), public);
        let (x, y) = (encode(&point[1..=length]), encode(&point[1 + length..]));
        let key = json!({"kty": "EC", "crv": curve, "alg": name, "use": "sig", "kid": "1", "x": x, "y": y});
        let keys = JwtKeys::parse(&json!({"keys": [key]}).to_string()).unwrap();
        let access = access(&[name], keys);
        let header = json!({"alg": name, "kid": "1", "typ": "JWT"}).to_string();
        let sign = |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
        let good = signed(&header, &claims().to_string(), sign);
        assert!(enter(&access, &good).is_ok(), "{name}");
        let cut = signed(&header, &claims().to_string(), |message| {
            sign(message)[1..].to_vec()
        });
        refused(&access, &cut, "signature");
    }
}

#[test]
fn bad_keys_are_named() {
    let (_, good) = ed25519();
    let good: Value = serde_json::from_str(&good).unwrap();
    let good = &good["keys"][0];
    #[track_caller]
    fn wrong(keys: Value, why: &str) {
        let error = JwtKeys::parse(&json!({ "keys": keys }).to_string()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(why), "{error}");
    }
    wrong(json!([]), "no key");
    wrong(
        json!([{"kty": "new"}, {"kty": "EC", "crv": "P-521"}]),
        "no key",
    );
    wrong(json!([good, 7]), "number 1");
    wrong(
        json!([good, {"kty": "oct", "k": encode("short")}]),
        "from 32",
    );
    wrong(
        json!([{"kty": "OKP", "crv": "Ed25519", "x": "+"}]),
        "base64url",
    );
    wrong(json!([{"kty": "OKP", "crv": "Ed25519"}]), "x is missing");
    wrong(
        json!([{"kty": "RSA", "e": "AQAB", "n": encode([1; 128])}]),
        "2048",
    );
    let private = json!({"kty": "OKP", "crv": "Ed25519", "x": good["x"], "d": "AAAA"});
    wrong(json!([private]), "private key");
    let confused = json!({"kty": "OKP", "crv": "Ed25519", "x": good["x"], "alg": "HS256"});
    wrong(json!([confused]), "not for HS256");
    let other_use = json!({"kty": "OKP", "crv": "Ed25519", "x": good["x"], "use": "enc"});
    wrong(json!([other_use]), "no key");
    wrong(json!(vec![good; 65]), "65 keys");
    assert!(JwtKeys::secret(None, b"short").is_err());
    let keys = JwtKeys::secret(None, SECRET).unwrap();
    assert!(!format!("{keys:?}").contains("116"), "a byte of the secret");
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW)));
    // Of 33 bytes: long enough for HS256 only.
    for algorithm in ["EdDSA", "HS512"] {
        let refused = JwtAccess::new(rules(&[algorithm]), keys.clone(), clock.clone());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn bad_rules_are_named() {
    let with = |name: &str, value: Value| {
        let mut rules = json!({"issuer": "i", "audiences": ["a"], "algorithms": ["EdDSA"]});
        rules[name] = value;
        JwtRules::parse(&rules.to_string())
    };
    assert!(with("leeway_seconds", json!(300)).is_ok());
    for (name, value, why) in [
        ("issuer", json!(""), "issuer"),
        ("audiences", json!([]), "audiences"),
        ("audiences", json!([""]), "audiences"),
        ("algorithms", json!([]), "algorithms"),
        ("algorithms", json!(["none"]), "none"),
        ("leeway_seconds", json!(301), "leeway"),
        ("grants", json!([{"read": ["*"]}]), "everybody"),
        ("grants", json!([{"user": "a", "group": "b"}]), "everybody"),
        ("grant", json!([]), "grant"),
    ] {
        let error = with(name, value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn keys_are_replaced_for_all_clones_and_bad_ones_are_not() {
    let access = by_secret();
    let clone = access.clone();
    let old = token(&claims());
    assert!(enter(&clone, &old).is_ok());
    let (_, set) = ed25519();
    assert!(access.replace_keys(JwtKeys::parse(&set).unwrap()).is_err());
    assert!(enter(&clone, &old).is_ok(), "the keys from before stay");
    access
        .replace_keys(JwtKeys::secret(None, &[9; 32]).unwrap())
        .unwrap();
    refused(&clone, &old, "signature");
}
