"""The operations that a model may hold.

A graph is a program: some operations read and write files, open connections or call Python.  Only those named here, which
compute on tensors and nothing else, are run.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any

from psdbatch.errors import ModelError

_ARITHMETIC = """
Abs Acos Acosh Add AddN AddV2 Angle Asin Asinh Atan Atan2 Atanh BiasAdd BiasAddV1 Ceil ClipByValue Complex Conj Cos Cosh
Cross Cumprod Cumsum CumulativeLogsumexp Digamma Div DivNoNan Erf Erfc Erfinv Exp Expm1 Floor FloorDiv FloorMod Igamma
Igammac Imag Inv InvertPermutation IsFinite IsInf IsNan Lgamma Log Log1p MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3
Cholesky ConjugateTranspose MatrixDeterminant MatrixInverse MatrixSolve MatrixTriangularSolve AccumulateNV2 Einsum Maximum Minimum Mod Mul MulNoNan Neg NextAfter Ndtri Polygamma Pow Real RealDiv Reciprocal Rint Round Rsqrt Sigmoid
Sign Sin Sinh Sqrt Square SquaredDifference Sub Tan Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta BesselI0
BesselI0e BesselI1 BesselI1e Bincount DenseBincount HistogramFixedWidth Bucketize L2Loss
FFT FFT2D FFT3D IFFT IFFT2D IFFT3D RFFT RFFT2D RFFT3D IRFFT IRFFT2D IRFFT3D
"""
_COMPARISON = """
Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot LogicalOr ApproximateEqual BitwiseAnd BitwiseOr
BitwiseXor Invert LeftShift RightShift PopulationCount Select SelectV2 Where
"""
_REDUCTION = """
All Any ArgMax ArgMin Max Mean Min Prod Sum EuclideanNorm InTopK InTopKV2 TopK TopKV2 NthElement
SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
UnsortedSegmentSum SegmentMaxV2 SegmentMinV2 SegmentProdV2 SegmentSumV2
"""
_SHAPE = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo Cast Concat ConcatOffset ConcatV2
Const DepthToSpace Diag DiagPart DynamicPartition DynamicStitch EnsureShape ExpandDims Fill Gather GatherNd GatherV2
Identity IdentityN LinSpace LowerBound MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag
MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad OneHot OnesLike
Pack Pad PadV2 ParallelDynamicStitch Placeholder PlaceholderWithDefault PreventGradient Range Rank Reshape
Reverse ReverseSequence ReverseV2 Roll ScatterNd Shape ShapeN Size Slice Snapshot SpaceToBatch SpaceToBatchND
SpaceToDepth Split SplitV Squeeze StopGradient StridedSlice TensorScatterAdd TensorScatterMax TensorScatterMin
TensorScatterSub TensorScatterUpdate Tile Transpose Unique UniqueV2 Unpack UpperBound ZerosLike
"""
_NETWORK = """
AvgPool AvgPool3D BatchNormWithGlobalNormalization Conv Conv2D Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D Conv3DBackpropInputV2
DepthwiseConv2dNative Dilation2D Elu FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FractionalAvgPool FractionalMaxPool
ExtractImagePatches LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Relu Relu6 Selu Softmax Softplus Softsign
ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor _FusedConv2D _FusedMatMul _FusedBatchNormEx
CudnnRNN CudnnRNNV2 CudnnRNNV3 GRUBlockCell LSTMBlockCell BlockLSTM BlockLSTMV2
"""
_QUANTISED = """
Dequantize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel QuantizeAndDequantize
QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2 QuantizedAdd QuantizedBiasAdd
QuantizedAvgPool QuantizedConcat QuantizedConcatV2 QuantizedConv2D QuantizedDepthwiseConv2D QuantizedMatMul QuantizedMaxPool QuantizedMul QuantizedRelu QuantizedRelu6 QuantizedReshape Requantize
RequantizationRange QuantizeDownAndShrinkRange QuantizedReluX
"""
_CONTROL = """
Assert Case ControlTrigger Enter Exit FakeParam If LoopCond Merge NextIteration NoOp PartitionedCall StatefulPartitionedCall
StatelessCase StatelessIf StatelessWhile Switch While EmptyTensorList TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape
TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListPushBackBatch
TensorListReserve TensorListResize TensorListScatter TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack TensorArrayV3 TensorArrayReadV3
TensorArrayWriteV3 TensorArrayGatherV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArrayCloseV3 TensorArrayConcatV3
TensorArraySplitV3
"""
_RANDOM = """
Multinomial RandomStandardNormal RandomUniform RandomUniformInt TruncatedNormal StatelessRandomNormal
StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformV2 StatelessTruncatedNormal
StatelessRandomGetKeyCounter StatelessRandomGetAlg
"""

ALLOWED = frozenset(
    " ".join((_ARITHMETIC, _COMPARISON, _REDUCTION, _SHAPE, _NETWORK, _QUANTISED, _CONTROL, _RANDOM)).split()
)

VARIABLES = frozenset(
    [
        "Assign",
        "AssignAddVariableOp",  # training functions, which Keras 2 saves along
        "AssignSubVariableOp",
        "AssignVariableOp",
        "AutoReloadVariable",
        "DisableCopyOnRead",
        "IsVariableInitialized",
        "ReadVariableOp",
        "ResourceGather",
        "VarHandleOp",
        "VarIsInitializedOp",
        "Variable",
        "VariableShape",
        "VariableV2",
    ]
)
"""Operations of models that are not frozen yet."""


def check_operations(graph: Any, path: object) -> None:
    """Refuse a GraphDef that holds an operation not allowed, in its main graph or in a function.

    Raises
    ------
    ModelError
        Names the operation and its node.
    """
    functions = graph.library.function
    allowed = ALLOWED | {function.signature.name for function in functions}
    check_nodes(graph.node, allowed, path)
    for function in functions:
        check_nodes(function.node_def, allowed, path, f" of function '{function.signature.name}'")


def check_nodes(nodes: Iterable[Any], allowed: AbstractSet[str], path: object, where: str = "") -> None:
    """Refuse nodes whose operation is not among ``allowed``.

    Raises
    ------
    ModelError
        Names the operation and its node.
    """
    for node in nodes:
        if node.op in allowed:
            continue
        if node.op in VARIABLES:
            raise ModelError(
                f"{path}: node '{node.name}'{where} is a variable ({node.op}); the graph is not frozen. "
                "Give psdbatch the SavedModel or .keras file, which it freezes itself"
            )
        raise ModelError(
            f"{path}: node '{node.name}'{where} is the operation {node.op}, which is not among those that only compute on "
            "tensors; a model that touches files, network or Python is not run"
        )
