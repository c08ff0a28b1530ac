//! A shipped version never changes: stored scores refer to its hash.

use clinical::instruments::Catalog;

/// The SHA-256 of each definition, by `jq -cSj . FILE | sha256sum`.
const SHIPPED: &[(&str, &str, &str)] = &[
    ("audit-c", "1.1.0", "cf1ae9ef5a81f84ec19e31b8395382a92ede795419f9321d8f4d5ba9141cfd0f"),
    ("cdc-hrqol-4", "1.0.0", "a1941e26b0677c1fb2c0779a852c59d13e73752710f57a75b6e3d2bf9e2c61f9"),
    ("ces-d", "1.1.0", "158e8c2617728041eefa79e9decb380f9bc94428079b1ed634da1fe397ee573a"),
    ("eortc-qlq-c30", "1.0.0", "68c9459a60f11d5de08741b6083c809956d018c7fcdb9d74705cc56c5993e24a"),
    ("epds", "1.1.0", "57a0ac95bde357bd754b59292dfe9d5d1865791762d968fa17ac851319a9b4b5"),
    ("gad-2", "1.0.0", "04b3db6222fe69832440c0892ac98ad0d813ffdcd27cdea36a5729f9440eec94"),
    ("gad-7", "1.0.0", "ec856ee502f11f7af26fb99d0a5574a940f8a7bc942f32feb6ec47d02e948faa"),
    ("gds-15", "1.0.0", "533a30041a6e603a78f1d6c746718866531158713db01ea2b7e6bb1a257a1c56"),
    ("isi", "1.0.0", "d023c480126faebe7479f860e4344a5ec13a36dd4f3a39c2939b7fab8d2e1ec0"),
    ("k10", "1.1.0", "5d6abacac7ad97d2c79e42a5557b1ca617b60d2b6180117864c5f1288a6e6ee5"),
    ("kccq-12", "1.0.0", "f2dd169424dc334d17fb00e90001573afc24ad2b38b8f157cf2e70b91c8e874d"),
    ("pain-nrs", "1.0.0", "6a3e339c5296a6149c14f928ddd8fb68d2a355a76b3b6231d9817647ac655044"),
    ("pcl-5", "1.0.0", "ba05ed20c4e34829a489d2994f84de2598a070b34a34b25e4bc74d4606dc0333"),
    ("phq-15", "1.1.0", "640e469033467d0cfc9d70cd57452144956fcff50442c8d21fb573a0dc56bb97"),
    ("phq-2", "1.0.0", "ea40350a202887b14aba3e3b4721007918667b6ad6860991394c0ab0ccb0c77c"),
    ("phq-4", "1.0.0", "996aff145d2262301f483d8e4c8c1d04e6f064847f4efa4f8a6eb7acf5467812"),
    ("phq-8", "1.0.0", "b0cd5175e1530371f73625c842321564ecb98ab9ae79a74d9682af08efd06eb1"),
    ("phq-9", "1.0.0", "f5f491c2f78edbc287c69216e598267e24e9e5050e41446ddf6cd37289a52be7"),
    ("pro-ctcae", "1.1.0", "3bb3bb109d8e62c6cca83522208daf949ce30839b499ef0298d75e181b4eb964"),
    ("promis-global-10", "1.0.0", "967a3e0d6bae75f9c53f10f7d12f4842d58382eece4be9c00e0d5981796d4372"),
    ("rand-36", "1.0.0", "60e2e74385a5075290ee3c1bd88beab391fb38ffe64461fcded7a773d3d8d4d6"),
    ("who-5", "1.1.0", "2a19f3609e73756f4e70a0e927d105f68565840a054049124ad10776ce5b6384"),
    ("whodas-12", "1.0.0", "d0fa72702ac3de5a55846869bb31ae15f42de416227703637c53a037644679d0"),
];

#[test]
fn every_shipped_definition_keeps_its_hash() {
    let found: Vec<_> = Catalog::shipped().iter().map(|i| (i.id().as_str(), i.version().as_str(), i.hash())).collect();
    assert_eq!(found, SHIPPED, "to change a definition, add a version");
}
