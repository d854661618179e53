"""Weights that were stored once decode identically for ever.

tests/data/frozen/make.py made them, from the oracle and with hand-written file formats. A new case
is added there and below; what stands here already does not change.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from cube24 import encoder

FROZEN = Path(__file__).parents[1] / "data" / "frozen"

# As `sha256sum` prints it.
SUMS = """
163923201b9d53b8d2784a1e776602054c068d4c8119d865021152099111b54a  batch_nd/stored/dense.bin
9a56c19b0a6df8da6f552b79a3aea148bd9171a946203ab6b2eb77c0946275e0  batch_nd/stored/index.bin
06857c09eba3aced1d6a0a59758baf4dc49821dea6dcf96144574ded45b84d46  batch_nd/stored/sparse.json
53ceb6c9a7bb5a96ad27df390779fa4264c72c855ef4b69b4843b93edbfc4988  batch_nd/weight.npy
c823017bcbac4f1fa924e0b31f4ddd1409cc15232c977df23c421ac19635dff4  batch_zn/stored/dense.hex
04158a11326327c02f7f434e7f9e5111cb0e5b5f43c89cf7e1456f117a191fca  batch_zn/stored/index.hex
68bea29c04619c9aa5448a816b9103cc688e652e0a8d92efa0971d8d2c527a95  batch_zn/stored/sparse.json
10f0711d7b44b686a3d5d55b3bac6d32d4df4ac7609908161494f702d760eae8  batch_zn/weight.npy
9b7660f33d9e72fc654d102abd8012d4b20be6fcf7648f4a1150e021d7dd78ef  conv_1x1_zn/stored/dense.bin
826af94e9abca80be102be3f77fff6588bec6e2c5d4142d7298cec03af578f44  conv_1x1_zn/stored/index.bin
2480dbcb4a546b3bb78631d2e7ddea8110153596dbbcbca5f79c9872090ec1eb  conv_1x1_zn/stored/sparse.json
29e433c7ed115d8f7f87fc81e80a4e1bc78682162fcc5f1054e5c4c282cd2711  conv_1x1_zn/weight.npy
1f8fe0eb4cd089679f39165c75778ddb1ad1b893e6160e3d236a87be6775b508  conv_33_nd/stored.npz
2db222beb13a0bef679f6543120db76b13dd87b4c6ed3c0bb679867195ddcbf9  conv_33_nd/weight.npy
5372881bb18a515a5cc47ac2e0ec01e9c98114b8bdc005570de6bfd7f0aaf4a9  conv_33_zn/stored/dense.hex
db21f542e4c7fd83db55276cf99c38bb27f0956e70a93110838edcd9832c1506  conv_33_zn/stored/index.hex
b48bbc720c1c889c5e53595f59733aacca1954df68e4641fc805b81fde4b310f  conv_33_zn/stored/sparse.json
62e1f45c57a086a27caf1dccad7c4600bbd0de40de0fabaceab55dd7e95c0071  conv_33_zn/weight.npy
cd829fd924f58bf9f5fe9a9d1ebc4707de2f56fc79fb10d2a31f15680f5d9dd4  extremes_nd/stored.npz
046107c1c5bbe50ccd3a0700ce17dcd324640537d203e2fd6029b2c6d315bd5e  extremes_nd/weight.npy
b4dbe087a04a58734119c2b38861c43ae222d436b150d32fd1d9b22b92353e32  extremes_zn/stored/dense.bin
4949785a4213f4451a5f0268a1f3465e36c8e70a7a0a4c61cb26a3abf0c4e6ed  extremes_zn/stored/index.bin
a438ec8f6e5eeb3879d9ca6f9738f1941fda7d31f7b0d942a58c1519d023d4c2  extremes_zn/stored/sparse.json
046107c1c5bbe50ccd3a0700ce17dcd324640537d203e2fd6029b2c6d315bd5e  extremes_zn/weight.npy
a79277f2206b01445c15976ac70737e665876cbaff1d38b309b8a5eae8f6b3fd  foreign_nd/stored/dense.npy
f81b15fe1264afcc30d01e4f1f17e29f3c962e32290de0d8d334336fc1ab58b7  foreign_nd/stored/index.npy
81b81c33e982ddcde2a1d0348fd5bb2aef651db29f8a6106a658ef444e86fc04  foreign_nd/stored/sparse.json
efb2934f9977b8239e05ee2096b8abb39526adc3fb46251775f28c9bfe72bf4f  foreign_nd/weight.npy
6e1c89fa5043a975971ba4ae898133a9cd798d53ac079553784f523093991dfd  foreign_zn/stored.npz
e32890460e2efd842c43700064efe988ff5da4d16e916290f8fa1ed55b2f9e0e  foreign_zn/weight.npy
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  no_columns/stored/dense.hex
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  no_columns/stored/index.hex
fd92e9a20897bcb61aa78642d4dc09ee48eb8e140c317582cb0e57851c4ffbf4  no_columns/stored/sparse.json
4eda33aab06dea9ce1f064ba12489289110dc7f09a6b70c4eef5cdd62b43826d  no_columns/weight.npy
0d77c5c39c0d65ccb5ab9eddc8eb16e0a0f51ae4371b00cd371f25c4fded0a78  no_rows/stored/dense.npy
234e9e8650134a1807980c51e63f2e030f54870179da0994288a373eebe8b161  no_rows/stored/index.npy
03ad57afc476b6deb91ea218c69543966d26a466c7b9d7ff7fdf79f040274c64  no_rows/stored/sparse.json
55ffcb7253b1d1a49d68eb72bbb05d70f2861e08f2744d000f2502f6e88910ad  no_rows/weight.npy
66d73f12149b077d97c11ceb036af8f49ecd9678e10d8d10373b5e0c35de036f  npy_fortran/stored/dense.npy
a745023cff7489bdf7d15c6fffa4dff93e3de8b97011d4282d5fdaaa9b24d589  npy_fortran/stored/index.npy
9ba3c9bc511ed74ae58e71bf0a9b18bc4c8ed1d6af56db9ae5c586348a7fafb1  npy_fortran/stored/sparse.json
33255ddf30d169b14f1063206d94ac92b3b1d0089e38823ea196d107ca3b1536  npy_fortran/weight.npy
49878b9a22d7fb39fa07126fd0af451a2387058521863c6269c5e29536f0e6de  npy_version_2/stored/dense.npy
536b2e246abde6052ad3121f80274d3fb982cc0d35e0bdb62ea67d7af793c996  npy_version_2/stored/index.npy
b98efee5f6e5f077c60ddc2fd8f7fa5a256faecf2ec8ed2fe286bea451dbc855  npy_version_2/stored/sparse.json
12f6550726511ced9c9fadafe6abecbdf58f12acd6602d76c284c9a98edc94f7  npy_version_2/weight.npy
928c419594b5a757121e61f6de175c02834ced1bbbc89b7e109a94fff62315bb  patterns_nd/stored/dense.npy
2851db68c062865f148f5fb30679b86d1304c04919c4713ca374b2eb12439fb1  patterns_nd/stored/index.npy
d993714ea7c600b6d50c911e0df55707022816c4614a50caa8e4436342a59009  patterns_nd/stored/sparse.json
e9d1cc616fd08010d3031297fbc1b3ab31298cc2793c18a0c15f816ae011f4e1  patterns_nd/weight.npy
fff6c9129bb4bce8f71b5e3372a3849f2d3d5d8bef688d6f5a829d0ed385d553  patterns_zn/stored.npz
e9d1cc616fd08010d3031297fbc1b3ab31298cc2793c18a0c15f816ae011f4e1  patterns_zn/weight.npy
61a4c10145ea912eb427bb5e3ccbc1cf6e45f253ab57762e04c71b7aae642bd9  tail_of_k_nd/stored/dense.hex
0c01f37637bc856c48295b32f703e05aeb396035a52fde53d1bae5dc0d9f0e0b  tail_of_k_nd/stored/index.hex
ac19c2824b97b5e971424b96c1e0f2c73f4ec97c612155660260949e2b022846  tail_of_k_nd/stored/sparse.json
b0156c537bb72a4345d38bdabb93025895282cbfdc469b14eaedd883728918cb  tail_of_k_nd/weight.npy
0cee6ba882d644f38d82c48e9473dc4b6983d1f936531d53c3b273b79d424d04  tail_of_k_zn/stored/dense.hex
3415d020b28b6129e30a449024a6fc7458ddb8e49aa55c34bca9a2790e9e9be7  tail_of_k_zn/stored/index.hex
48e793e3f2c51ec4589aaf00b19b262966eb1865bbcf211858c51ebc8bf8ddc4  tail_of_k_zn/stored/sparse.json
25c90964f5d8b22c6af35dafb2e66e4513943efae017d38d10462591447cf26e  tail_of_k_zn/weight.npy
"""

FILES = {name: digest for digest, name in map(str.split, SUMS.strip().splitlines())}
CASES = sorted({name.split("/")[0] for name in FILES})
FOREIGN = [case for case in CASES if case.startswith("foreign")]
CANONICAL = [case for case in CASES if case not in FOREIGN]


def load(case: str) -> encoder.SparseWeight:
    archive = FROZEN / case / "stored.npz"
    return encoder.SparseWeight.load(archive if archive.exists() else FROZEN / case / "stored")


def weight_of(case: str) -> np.ndarray:
    return np.load(FROZEN / case / "weight.npy")


def test_nobody_has_touched_the_frozen_files():
    found = {
        path.relative_to(FROZEN).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FROZEN.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert found == FILES


@pytest.mark.parametrize("case", CASES)
def test_a_frozen_weight_decodes_as_ever(path, case):
    weight = encoder.decode(load(case))
    assert (weight.dtype, weight.shape) == (np.int8, weight_of(case).shape)
    assert weight.tobytes() == weight_of(case).tobytes()


@pytest.mark.parametrize("case", CANONICAL)
def test_a_frozen_weight_is_encoded_to_the_same_bytes_again(path, case):
    stored = load(case)
    assert np.array_equal(encoder.decode(stored, strict=True), weight_of(case))
    encode = encoder.encode_conv if stored.kind == "conv" else encoder.encode
    again = encode(weight_of(case), layout=stored.layout)
    assert again.dense.tobytes() == stored.dense.tobytes()
    assert again.index.tobytes() == stored.index.tobytes()
    assert (again.dense.shape, again.index.shape) == (stored.dense.shape, stored.index.shape)


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_bytes_are_refused_by_a_strict_decode_only(path, case):
    with pytest.raises(encoder.RefusedError):
        encoder.decode(load(case), strict=True)
