"""Works that the methods text cites: in full, and as they stand in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

REFERENCES = {
    "bids": "Gorgolewski KJ, Auer T, Calhoun VD, et al. (2016). The brain imaging data structure, a format for "
    "organizing and describing outputs of neuroimaging experiments. Scientific Data 3:160044. "
    "https://doi.org/10.1038/sdata.2016.44",
    "pybids": "Yarkoni T, Markiewicz CJ, de la Vega A, et al. (2019). PyBIDS: Python tools for BIDS datasets. Journal "
    "of Open Source Software 4(40):1294. https://doi.org/10.21105/joss.01294",
    "nipype": "Gorgolewski K, Burns CD, Madison C, et al. (2011). Nipype: a flexible, lightweight and extensible "
    "neuroimaging data processing framework in Python. Frontiers in Neuroinformatics 5:13. "
    "https://doi.org/10.3389/fninf.2011.00013",
    "spm": "Friston KJ, Fletcher P, Josephs O, Holmes A, Rugg MD, Turner R (1998). Event-related fMRI: characterizing "
    "differential responses. NeuroImage 7(1):30-40. https://doi.org/10.1006/nimg.1997.0306",
    "glover": "Glover GH (1999). Deconvolution of impulse response in event-related BOLD fMRI. NeuroImage "
    "9(4):416-429. https://doi.org/10.1006/nimg.1998.0419",
    "mumford": "Mumford JA, Turner BO, Ashby FG, Poldrack RA (2012). Deconvolving BOLD activation in event-related "
    "designs for multivoxel pattern classification analyses. NeuroImage 59(3):2636-2643. "
    "https://doi.org/10.1016/j.neuroimage.2011.08.076",
    "turner": "Turner BO, Mumford JA, Poldrack RA, Ashby FG (2012). Spatiotemporal activity estimation for multivoxel "
    "pattern analysis with rapid event-related designs. NeuroImage 62(3):1429-1438. "
    "https://doi.org/10.1016/j.neuroimage.2012.05.057",
    "nilearn": "Abraham A, Pedregosa F, Eickenberg M, et al. (2014). Machine learning for neuroimaging with "
    "scikit-learn. Frontiers in Neuroinformatics 8:14. https://doi.org/10.3389/fninf.2014.00014",
    "hyper": "Dado T, Güçlütürk Y, Ambrogioni L, Ras G, Bosch S, van Gerven M, Güçlü U (2022). Hyperrealistic neural "
    "decoding for reconstructing faces from fMRI activations via the GAN latent space. Scientific Reports 12:141. "
    "https://doi.org/10.1038/s41598-021-03938-w",
    "ridge": "Hoerl AE, Kennard RW (1970). Ridge regression: biased estimation for nonorthogonal problems. "
    "Technometrics 12(1):55-67. https://doi.org/10.1080/00401706.1970.10488634",
    "eigenface": "Cowen AS, Chun MM, Kuhl BA (2014). Neural portraits of perception: reconstructing face images from "
    "evoked brain activity. NeuroImage 94:12-22. https://doi.org/10.1016/j.neuroimage.2014.03.018",
    "ssim": "Wang Z, Bovik AC, Sheikh HR, Simoncelli EP (2004). Image quality assessment: from error visibility to "
    "structural similarity. IEEE Transactions on Image Processing 13(4):600-612. "
    "https://doi.org/10.1109/TIP.2003.819861",
    "phipson": "Phipson B, Smyth GK (2010). Permutation p-values should never be zero: calculating exact p-values when "
    "permutations are randomly drawn. Statistical Applications in Genetics and Molecular Biology 9(1):39. "
    "https://doi.org/10.2202/1544-6115.1585",
    "hesterberg": "Hesterberg TC (2015). What teachers should know about the bootstrap: resampling in the "
    "undergraduate statistics curriculum. The American Statistician 69(4):371-386. "
    "https://doi.org/10.1080/00031305.2015.1089789",
    "agresti": "Agresti A, Coull BA (1998). Approximate is better than \"exact\" for interval estimation of binomial "
    "proportions. The American Statistician 52(2):119-126. https://doi.org/10.1080/00031305.1998.10480550",
    "torch": "Paszke A, Gross S, Massa F, et al. (2019). PyTorch: an imperative style, high-performance deep learning "
    "library. Advances in Neural Information Processing Systems 32.",
    "hyper2020": "Dado T, Güçlütürk Y, Ambrogioni L, Ras G, Bosch S, van Gerven M, Güçlü U (2020). Hyperrealistic "
    "neural decoding: reconstruction of face stimuli from fMRI measurements via the GAN latent space. bioRxiv "
    "2020.07.01.168849. https://doi.org/10.1101/2020.07.01.168849",
    "dand": "Güçlütürk Y, Güçlü U, Seeliger K, Bosch S, van Lier R, van Gerven MAJ (2017). Reconstructing perceived "
    "faces from brain activations with deep adversarial neural decoding. Advances in Neural Information Processing "
    "Systems 30:4246-4257.",
    "vaegan": "VanRullen R, Reddy L (2019). Reconstructing faces from fMRI patterns using deep generative neural "
    "networks. Communications Biology 2:193. https://doi.org/10.1038/s42003-019-0438-y",
    "turk": "Turk M, Pentland A (1991). Eigenfaces for recognition. Journal of Cognitive Neuroscience 3(1):71-86. "
    "https://doi.org/10.1162/jocn.1991.3.1.71",
    "pggan": "Karras T, Aila T, Laine S, Lehtinen J (2018). Progressive growing of GANs for improved quality, "
    "stability, and variation. International Conference on Learning Representations. "
    "https://arxiv.org/abs/1710.10196",
    "adam": "Kingma DP, Ba J (2015). Adam: a method for stochastic optimization. International Conference on Learning "
    "Representations. https://arxiv.org/abs/1412.6980",
    "stopping": "Prechelt L (1998). Early stopping - but when? In: Neural Networks: Tricks of the Trade, Lecture Notes "
    "in Computer Science 1524:55-69. https://doi.org/10.1007/3-540-49430-8_3",
    "penrose": "Penrose R (1956). On best approximate solutions of linear matrix equations. Mathematical Proceedings "
    "of the Cambridge Philosophical Society 52(1):17-19. https://doi.org/10.1017/S0305004100030929",
    "spearman": "Spearman C (1910). Correlation calculated from faulty data. British Journal of Psychology "
    "3(3):271-295. https://doi.org/10.1111/j.2044-8295.1910.tb00206.x",
    "brown": "Brown W (1910). Some experimental results in the correlation of mental abilities. British Journal of "
    "Psychology 3(3):296-322. https://doi.org/10.1111/j.2044-8295.1910.tb00207.x",
    "shrout": "Shrout PE, Fleiss JL (1979). Intraclass correlations: uses in assessing rater reliability. "
    "Psychological Bulletin 86(2):420-428. https://doi.org/10.1037/0033-2909.86.2.420",
    "whitlock": "Whitlock MC (2005). Combining probability from independent tests: the weighted Z-method is superior "
    "to Fisher's approach. Journal of Evolutionary Biology 18(5):1368-1373. "
    "https://doi.org/10.1111/j.1420-9101.2005.00917.x",
    "cornfield": "Cornfield J, Tukey JW (1956). Average values of mean squares in factorials. The Annals of "
    "Mathematical Statistics 27(4):907-949. https://doi.org/10.1214/aoms/1177728067",
    "satterthwaite": "Satterthwaite FE (1946). An approximate distribution of estimates of variance components. "
    "Biometrics Bulletin 2(6):110-114. https://doi.org/10.2307/3002019",
    "friedman": "Friedman M (1937). The use of ranks to avoid the assumption of normality implicit in the analysis of "
    "variance. Journal of the American Statistical Association 32(200):675-701. "
    "https://doi.org/10.1080/01621459.1937.10503522",
    "wilcoxon": "Wilcoxon F (1945). Individual comparisons by ranking methods. Biometrics Bulletin 1(6):80-83. "
    "https://doi.org/10.2307/3001968",
    "holm": "Holm S (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of "
    "Statistics 6(2):65-70.",
    "fdr": "Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate: a practical and powerful approach "
    "to multiple testing. Journal of the Royal Statistical Society: Series B 57(1):289-300. "
    "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
}

SHORT = {
    "bids": "Gorgolewski et al. 2016", "pybids": "Yarkoni et al. 2019", "nipype": "Gorgolewski et al. 2011",
    "spm": "Friston et al. 1998", "glover": "Glover 1999", "mumford": "Mumford et al. 2012",
    "turner": "Turner et al. 2012", "nilearn": "Abraham et al. 2014", "hyper": "Dado et al. 2022",
    "ridge": "Hoerl & Kennard 1970", "eigenface": "Cowen et al. 2014", "ssim": "Wang et al. 2004",
    "phipson": "Phipson & Smyth 2010", "torch": "Paszke et al. 2019", "hyper2020": "Dado et al. 2020",
    "dand": "Güçlütürk et al. 2017", "vaegan": "VanRullen & Reddy 2019", "turk": "Turk & Pentland 1991",
    "pggan": "Karras et al. 2018", "adam": "Kingma & Ba 2015", "stopping": "Prechelt 1998",
    "penrose": "Penrose 1956", "spearman": "Spearman 1910", "brown": "Brown 1910", "shrout": "Shrout & Fleiss 1979",
    "hesterberg": "Hesterberg 2015", "agresti": "Agresti & Coull 1998", "whitlock": "Whitlock 2005",
    "cornfield": "Cornfield & Tukey 1956", "satterthwaite": "Satterthwaite 1946", "friedman": "Friedman 1937",
    "wilcoxon": "Wilcoxon 1945", "holm": "Holm 1979", "fdr": "Benjamini & Hochberg 1995",
}  # fmt: skip


class Text:
    """Sentences with the references they use, in the order of use."""

    def __init__(self) -> None:
        self.paragraphs: list[tuple[str, list[str]]] = []
        self.used: list[str] = []

    def name(self, *keys: str) -> str:
        """Return the works' short names, to stand in a sentence or inside brackets."""
        self.used += [key for key in keys if key not in self.used]
        return "; ".join(SHORT[key] for key in keys)

    def cite(self, *keys: str) -> str:
        """Return the works' short names in brackets."""
        return f"({self.name(*keys)})"

    def add(self, title: str, sentences: Sequence[str]) -> None:
        """Add a paragraph; empty sentences are left out."""
        self.paragraphs.append((title, [sentence for sentence in sentences if sentence]))
