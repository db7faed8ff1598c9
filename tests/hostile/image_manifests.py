# SPDX-License-Identifier: Apache-2.0
"""Manifests and indexes: what a registry would have us fetch."""
import json
import platform

from cases import manifest, refused, too_large

HERE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
MANIFEST, INDEX, CONFIG = OCI + "manifest.v1+json", OCI + "index.v1+json", OCI + "config.v1+json"
LAYER = OCI + "layer.v1.tar+gzip"
DOCKER_MANIFEST, DOCKER_LIST = DOCKER + "distribution.manifest.v2+json", DOCKER + "distribution.manifest.list.v2+json"


def part(media_type, digit="a", size=10, **more):
    return {"mediaType": media_type, "digest": "sha256:" + digit * 64, "size": size} | more


def image(layers=None, config=None, **more):
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": part(CONFIG) if config is None else config,
                "layers": [part(LAYER, "b")] if layers is None else layers} | more
    return json.dumps({key: value for key, value in document.items() if value is not ...})


def index(entries, **more):
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries} | more
    return json.dumps({key: value for key, value in document.items() if value is not ...})


def entry(os, architecture, digit, variant=None, media_type=MANIFEST):
    where = {"os": os, "architecture": architecture} | ({"variant": variant} if variant else {})
    return part(media_type, digit, platform=where)


def layer_refused(name, layer, *words):
    manifest(name, image([layer]), refused("layer 1", *words))


manifest("OciImage", image(), {"layers": 1}, MANIFEST)
manifest("OciImageWithoutMediaType", image(mediaType=...), {"layers": 1}, MANIFEST)
manifest("OciImageFromAPlainServer", image(), {"layers": 1}, "application/octet-stream")
manifest("DockerImage", image([part(DOCKER + "image.rootfs.diff.tar.gzip")], part(DOCKER + "container.image.v1+json"),
                              mediaType=DOCKER_MANIFEST), {"layers": 1}, DOCKER_MANIFEST + "; charset=utf-8")
manifest("ImageOfNoLayer", image([]), {"layers": 0})
manifest("ImageOf128Layers", image([part(LAYER)] * 128), {"layers": 128})
manifest("ImageOf129Layers", image([part(LAYER)] * 129), refused("129 layers", "128"))
manifest("ImageWithUrls", image([part(LAYER, urls=["http://169.254.169.254/latest/meta-data"])]), {"layers": 1})
manifest("ImageWithInlineData", image([part(LAYER, data="aGVsbG8=")]), {"layers": 1})
manifest("ImageWithSubjectAndAnnotations", image(subject=part(MANIFEST), annotations={"a": "b"}), {"layers": 1})
manifest("ImageOfZstdAndPlainLayers", image([part(OCI + "layer.v1.tar+zstd"), part(OCI + "layer.v1.tar")]),
      {"layers": 2})

manifest("ManifestAndIndexAtOnce", image(manifests=[]), refused("at once"))
manifest("IndexWithAConfig", index([], config=part(CONFIG)), refused("at once"))
manifest("IndexThatCallsItselfManifest", index([], mediaType=MANIFEST), refused("not what its media type says"))
manifest("ManifestThatCallsItselfIndex", image(mediaType=INDEX), refused("not what its media type says"))
manifest("ManifestThatTheRegistryCallsIndex", image(), refused("calls itself", "the registry calls it"), INDEX)
manifest("ManifestThatTheRegistryCallsHtml", image(), refused("calls itself", "text/html"), "text/html")
manifest("OciManifestThatTheRegistryCallsDocker", image(), refused("calls itself"), DOCKER_MANIFEST)
manifest("SchemaOne", '{"schemaVersion":1,"name":"x","tag":"1","fsLayers":[]}', refused("schema 1"))
manifest("SchemaOneByItsType", '{"schemaVersion":2}', refused("schema 1"),
      DOCKER + "distribution.manifest.v1+prettyjws")
manifest("SchemaThree", image(schemaVersion=3), refused("schemaVersion"))
manifest("SchemaAsText", image(schemaVersion="2"), refused("schemaVersion"))
manifest("SchemaAsFraction", image().replace('"schemaVersion": 2', '"schemaVersion": 2.5'), refused("schemaVersion"))
manifest("MediaTypeIsANumber", image(mediaType=2), refused("mediaType"))
manifest("LayersInWrongCase", image(layers=...)[:-1] + ',"Layers":[]}', refused('"layers" is missing'))
manifest("LayersTwice", image()[:-1] + ',"layers":[]}', refused("duplicate", "layers"))
manifest("LayersAreAnObject", image({"0": part(LAYER)}), refused('"layers"'))
manifest("LayersAreMissing", image(layers=...), refused('"layers" is missing'))
manifest("ConfigIsMissing", image(config=...), refused('"config" is missing'))
manifest("ConfigIsText", image(config="sha256:" + "a" * 64), refused("config", "not an object"))
manifest("ConfigOfArtifact", image(config=part("application/vnd.oci.empty.v1+json")),
      refused("not a container image", "oci.empty"))
manifest("ConfigOfHelmChart", image(config=part("application/vnd.cncf.helm.config.v1+json")),
      refused("not a container image", "helm"))
manifest("ConfigLargerThan8MiB", image(config=part(CONFIG, size=(8 << 20) + 1)), refused("config", "over the limit"))

layer_refused("LayerWithNegativeSize", part(LAYER, size=-1), "size")
layer_refused("LayerWithFractionalSize", part(LAYER, size=1.5), "size")
layer_refused("LayerWithSizeAsText", part(LAYER, size="10"), "size")
layer_refused("LayerOver16GiB", part(LAYER, size=(16 << 30) + 1), "over the limit")
layer_refused("LayerOf2To63", part(LAYER, size=2**63), "size")
layer_refused("LayerOf2To64And10", part(LAYER, size=2**64 + 10), "size")
layer_refused("LayerOfSha512", part(LAYER) | {"digest": "sha512:" + "a" * 128}, "sha512")
layer_refused("LayerOfSha1", part(LAYER) | {"digest": "sha1:" + "a" * 40}, "digest")
layer_refused("LayerOfMd5WithALongTail", part(LAYER) | {"digest": "md5:" + "a" * 64}, "digest")
layer_refused("LayerWithDigestInCapitals", part(LAYER) | {"digest": "sha256:" + "A" * 64}, "digest")
layer_refused("LayerWithDigestThatClimbs", part(LAYER) | {"digest": "sha256:../../../../etc/passwd"}, "digest")
layer_refused("LayerWithDigestOf63Digits", part(LAYER) | {"digest": "sha256:" + "a" * 63}, "digest")
layer_refused("LayerWithoutDigest", {"mediaType": LAYER, "size": 1}, "digest")
layer_refused("LayerWithoutSize", {"mediaType": LAYER, "digest": "sha256:" + "a" * 64}, "size")
layer_refused("LayerWithoutMediaType", {"digest": "sha256:" + "a" * 64, "size": 1}, "mediaType")
layer_refused("LayerOfUnknownType", part("application/x-tar"), "not a layer", "x-tar")
layer_refused("LayerThatIsEncrypted", part(LAYER + "+encrypted"), "encrypted")
layer_refused("LayerThatIsForeign", part(DOCKER + "image.rootfs.foreign.diff.tar.gzip", urls=["http://127.0.0.1:1/x"]),
      "outside the registry")
layer_refused("LayerThatIsNondistributable",
      part(OCI + "layer.nondistributable.v1.tar+gzip", urls=["file:///etc/shadow"]), "outside the registry")
layer_refused("LayerThatIsSquashfs", part("application/vnd.sylabs.sif.layer.v1.sif"), "not a layer")
layer_refused("LayerThatIsSignature", part("application/vnd.dev.cosign.simplesigning.v1+json"), "not a layer")
layer_refused("LayerThatIsAnIndex", part(INDEX), "not a layer")
layer_refused("LayerThatIsANumber", 7, "not an object")
layer_refused("LayerThatIsNull", None, "not an object")
layer_refused("LayerWithControlBytesInItsType", part("text/\x1b[31m"), "\\x1b[31m")
manifest("LayersOver64GiBTogether", image([part(LAYER, size=16 << 30)] * 5), refused("over the limit"))

manifest("IndexGivesThisHost", index([entry("linux", "s390x", "a"), entry("windows", HERE, "b"), entry("linux", HERE, "c")]), {"platform": "c"})
manifest("IndexOfDocker", index([entry("linux", HERE, "c", media_type=DOCKER_MANIFEST)], mediaType=DOCKER_LIST),
      {"platform": "c"}, DOCKER_LIST)
manifest("IndexPrefersThePlainVariant", index([entry("linux", HERE, "a", "v3"), entry("linux", HERE, "b")]),
      {"platform": "b"})
manifest("IndexSkipsAttestations", index([entry("unknown", "unknown", "a"), entry("linux", HERE, "b")]),
      {"platform": "b"})
manifest("IndexSkipsANestedIndex", index([entry("linux", HERE, "a", media_type=INDEX), entry("linux", HERE, "b")]),
      {"platform": "b"})
manifest("IndexOfANestedIndexOnly", index([entry("linux", HERE, "a", media_type=INDEX)]),
      {"no_platform": "no image for linux/" + HERE})
manifest("IndexWithoutThisPlatform", index([entry("linux", "s390x", "a"), entry("linux", "arm", "b", "v7")]),
         {"no_platform": "it has: linux/arm/v7, linux/s390x"})
manifest("IndexOfNothing", index([]), {"no_platform": "none at all"})
manifest("IndexWithoutPlatforms", index([part(MANIFEST)]), {"no_platform": "none at all"})
manifest("IndexWithPlatformAsText", index([part(MANIFEST, platform="linux/amd64")]), {"no_platform": "none at all"})
manifest("IndexWithControlBytesInThePlatform", index([entry("li\x1b[31mnux", "x", "a")]),
      {"no_platform": "li\\x1b[31mnux"})
manifest("IndexOf1000Entries", index([entry("linux", "s390x", "a")] * 999 + [entry("linux", HERE, "b")]),
      {"platform": "b"})
manifest("IndexOf1001Entries", index([entry("linux", HERE, "a")] * 1001), refused("1001 manifests", "1000"))
manifest("IndexWithANegativeSize", index([part(MANIFEST, size=-1)]), refused("manifest 1", "size"))
manifest("IndexWithAManifestOver4MiB", index([part(MANIFEST, size=(4 << 20) + 1)]),
      refused("manifest 1", "over the limit"))
manifest("IndexWithAnotherAlgorithm", index([part(MANIFEST) | {"digest": "sha512:" + "a" * 128}]),
      refused("manifest 1", "sha512"))
manifest("IndexEntryThatIsText", index(["sha256:" + "a" * 64]), refused("manifest 1", "not an object"))

manifest("LargerThan4MiB", b" " * ((4 << 20) + 1), too_large("bytes"))
manifest("DeepArrays", "[" * 100_000, refused("nested deeper"))
manifest("DeepAnnotations", image(annotations="X").replace('"X"', "[" * 100 + "]" * 100), refused("nested deeper"))
manifest("BrokenUtf8", image(x="X").encode().replace(b'"X"', b'"\xff"'), refused("JSON"))
manifest("Html", "<html><body>404</body></html>", refused("JSON"))
manifest("Empty", "", refused("JSON"))
manifest("List", "[]", refused("not an object"))
manifest("CutOff", image()[:-1], refused("JSON"))
manifest("NumberTooLarge", image(x=1).replace('"x": 1', '"x": 1e999'), refused("JSON", "overflow"))
